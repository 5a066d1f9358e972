"""The passes' solvers on live torch modules."""
