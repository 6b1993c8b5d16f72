"""What `doctor` and `bootstrap` check: values in, findings out."""
