"""The command ``sdme``: one file a command. Heavy libraries are loaded only by what needs them."""
