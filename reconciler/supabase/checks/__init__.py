"""What `doctor` reads about the table and the role."""
