"""The envelope of a Domino model API: `{"data": {...}}` or `{"parameters": [...]}`, as Domino passes them to the
function of a model.
"""
