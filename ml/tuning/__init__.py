"""Search over hyper-parameters and training settings, judged on the window's validation rows; it runs no child."""
