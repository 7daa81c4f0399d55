"""Makes a disk slow: holds a lease (fcntl(2), F_SETLEASE) on a file that somebody replaces again and again, so that each time they open it
they wait, for so many seconds or until this ends."""
import fcntl
import os
import signal
import sys
import time

path, seconds = sys.argv[1], float(sys.argv[2])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
while True:
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        signal.sigwait([signal.SIGIO])
        time.sleep(seconds)
    except BlockingIOError:
        # Somebody has it open now.
        time.sleep(0.01)
    os.close(file)
