"""The model behind `names`: its file, what it was learned from (NOTICE), and the script that trains it.

Nothing here is imported while requests are served; `names` reads the file and needs nothing else.
"""
