"""What `membrain doctor` looks at: the machine, its files, the gateway, who answers, and each tool from its own side.

A check is a function that gives findings. It changes nothing, shows no key and no value, and what it cannot know it
leaves out. Which checks there are and how a finding is told is the command's own (`membrain_cli.commands.doctor`).
"""
