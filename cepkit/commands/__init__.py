"""The command line `cepkit ...`, and nothing that is needed without one."""
