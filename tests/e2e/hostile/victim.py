"""A process that protects nothing: the control of `local.py`. Its secret is in its environment, its memory and a file that it
has open; it lets others of its user trace it even where the kernel asks for leave (Yama)."""
import ctypes, os, time

secret = os.environ["CANARY"]
kept = [secret + str(number) for number in range(4)]
source = open("victim.secret", "w+")
source.write(secret)
source.flush()
libc = ctypes.CDLL(None)
libc.prctl(0x59616D61, ctypes.c_ulong(0xFFFFFFFFFFFFFFFF), 0, 0, 0)  # PR_SET_PTRACER, anybody
print("ready", flush=True)
while True:
    time.sleep(60)
