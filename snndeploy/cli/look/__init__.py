"""What one looks at: the report of a bundle, pages, tables and pictures."""
