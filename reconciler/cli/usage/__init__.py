"""The usage of each command: its name, arguments, options and help. What runs is imported when it runs."""
