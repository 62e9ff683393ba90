"""edge64's datapath: C programs, and the Python that loads them and reads their layouts."""
