"""Other writers of customers than the API's caller: staff, an importing app, and mass creation for tests."""
