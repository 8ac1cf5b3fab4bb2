"""OpenCV, which is imported from here alone: `from workbench.opencv import cv2`.

When it is loaded, its package puts a folder before LD_LIBRARY_PATH, for processes that are started
later, and a colon behind it. Where that was empty, an empty name is left at its end, which stands
for the folder that a process runs in: that of the data may hold a stranger's `libc.so.6`, which
each later process would then load first.
"""

import os
import re

import cv2 as cv2

_PATHS = "LD_LIBRARY_PATH"

if _PATHS in os.environ:
    os.environ[_PATHS] = ":".join(filter(None, re.split("[:;]", os.environ[_PATHS])))
