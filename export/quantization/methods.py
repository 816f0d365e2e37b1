"""How the integers of a graph may be chosen. Apart from the code that does it: requests are checked without that."""

METHODS = ("static", "dynamic", "weights")
