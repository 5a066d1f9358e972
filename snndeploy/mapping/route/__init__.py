"""Where cores go on chips and meshes, and the messages between them."""
