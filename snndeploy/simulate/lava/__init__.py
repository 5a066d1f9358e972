"""The Lava engine: real Lava processes in an interpreter of their own."""
