"""The staff's dashboard on the laptop: how it is built, served, and what its sign-in needs of the emulator."""
