"""What es_power promises of speed and memory, measured: each figure beside its baseline, in one run.

Rules of this package:
1. A target is a ratio, or a number that does not depend on the machine; both sides are measured in turn (A B A B), so
   that a busy or slow machine slows both.
2. Our side is the product's own path, and the baseline is as good as one can write it.
3. What a measurement needs is made before the clock starts; garbage of the other side is collected before.
"""
