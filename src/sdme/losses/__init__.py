"""The paper's losses (section 3.3), one file a task, and the balance between tasks.

Convention: ``H`` maps fixed to moving pixels; image 0 is fixed, image 1 is moving.
"""
