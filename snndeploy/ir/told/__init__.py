"""What is told of programs, whoever made them."""
