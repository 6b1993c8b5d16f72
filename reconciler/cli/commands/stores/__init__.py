"""The commands of operators for whole stores: pause, resume."""
