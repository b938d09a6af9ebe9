"""`alia-ray init`: looks at somebody's images, and writes a configuration that runs on them."""
