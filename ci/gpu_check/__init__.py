"""What a machine with a GPU is asked: are its times right, does an adapted model save there, are answers the same?"""
