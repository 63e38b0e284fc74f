"""The rules, one file a family; how they are run belongs to the package above."""
