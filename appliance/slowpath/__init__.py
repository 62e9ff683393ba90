"""The slow path: a stateless RFC 7915 translator in Python, and the TUN device it serves."""
