"""One file for each kind of fault that the debugger looks for."""
