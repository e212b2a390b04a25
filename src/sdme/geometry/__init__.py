"""Homographies, sampling and random warps on tensors, under one pixel-centre convention.

Points are ``(x, y)`` with pixel centres at integers and the origin at the centre of the top-left
pixel. A homography ``H`` maps fixed pixels to moving pixels and has ``H[2, 2] = 1``.
"""
