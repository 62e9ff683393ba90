"""The program ``edge64``. ``main`` wires; each command is a file of its own."""
