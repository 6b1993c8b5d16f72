"""The console in a real browser: every page, light and dark, on a wide screen and on a phone, with and without a mouse."""
