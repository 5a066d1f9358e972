"""What a network does on calibration samples: recorded in bounded chunks, summed into moments."""
