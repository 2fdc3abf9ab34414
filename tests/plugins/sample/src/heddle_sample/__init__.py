"""Dense layers on a pretended coprocessor."""
