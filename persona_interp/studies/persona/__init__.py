"""The main job: persona vectors of traits, how well they separate and steer, judged and ranked."""
