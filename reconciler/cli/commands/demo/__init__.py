"""The simulated shops and the demo on them."""
