"""The accelerator in software: its programs, the functional and cycle models, and the device that offers them."""
