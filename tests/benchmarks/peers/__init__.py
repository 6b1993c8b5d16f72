"""Scripts that run in other Pythons, with other people's programs installed. They know nothing of ours."""
