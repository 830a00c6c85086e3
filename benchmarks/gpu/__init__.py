# SPDX-License-Identifier: Apache-2.0
"""What is run on a machine with a GPU, from one command, and the records it leaves."""
