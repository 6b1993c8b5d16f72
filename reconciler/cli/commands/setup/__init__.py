"""The commands that set things up and check them: bootstrap, doctor, db, schema."""
