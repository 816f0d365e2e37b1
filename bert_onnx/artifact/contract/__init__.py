"""What an artifact folder holds: the manifest, its rules, and the checks of opening it."""
