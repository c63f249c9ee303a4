"""Exports of labels: the final labels of a dataset, and who confirmed them, in the formats that others read."""
