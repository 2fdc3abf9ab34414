"""What runs a compiled model: Artifact, Device, Buffer, Executable. Imports no compiler: ships alone."""
