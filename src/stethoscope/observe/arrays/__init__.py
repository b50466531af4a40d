"""Listening where torch does not train: arrays of other frameworks, told to the books that hear of tensors."""
