"""What was compiled as something to look at: pages, tables, pictures, differences."""
