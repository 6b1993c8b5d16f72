"""Files that commands read and write: saved plans and tables of user-customer pairs."""
