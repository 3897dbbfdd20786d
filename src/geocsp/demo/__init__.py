"""The main job on real imagery: how much does location help when labels are few?"""
