"""What the API costs: each kind of request driven over loopback against the emulator, and how long functions take to
import. The handler's own time comes from its log, so that the emulator's is distinguished from it."""
