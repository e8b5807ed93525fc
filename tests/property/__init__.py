"""Laws of the join that hold for every input, checked by hypothesis."""
