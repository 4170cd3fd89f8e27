#!/bin/sh
# Makes DejaVuSansCondensed.ttf from the font of that name in the Debian package fonts-dejavu-extra 2.37-6:
#
#     apt-get download fonts-dejavu-extra && dpkg -x fonts-dejavu-extra_*.deb whole && pip install fonttools==4.68.0
#     ./subset.sh whole/usr/share/fonts/truetype/dejavu/DejaVuSansCondensed.ttf
#
# Kept are Latin, Greek and the signs of mathematics that labels use, and the marks that stand over them. Kerning is left
# out, so that a text is as wide as its letters together: `src/report/font.rs` counts on that.
set -eu
pyftsubset "$1" --output-file="$(dirname "$0")/DejaVuSansCondensed.ttf" \
    --no-hinting --layout-features=ccmp,mark,mkmk --drop-tables+=MATH,FFTM --no-recalc-timestamp --unicodes="\
U+20-7E,U+A0-17F,U+2C6-2DD,U+300-308,U+30A-30C,U+391-3A9,U+3B1-3C9,U+3D1,U+3D5,U+3F5,U+1D40,U+1D62-1D65,\
U+2010-2016,U+2018-201E,U+2020-2022,U+2026,U+2030,U+2032-2033,U+2044,U+2070-208E,U+2090-209C,U+2102,U+2112-2113,\
U+2115,U+211D,U+2190-2193,U+21A6,U+21D0-21D4,U+2200-221E,U+2223-222B,U+223C,U+2243-2248,U+2260-2265,U+226A-226B,\
U+2282-2287,U+2295-2299,U+22A4-22A5,U+22C5,U+2308-230B,U+2713,U+2717,U+27E8-27E9,U+2C7C,U+FFFD"
