"""Output formats: text for people, JSON for programs, Markdown and HTML for reviews."""
