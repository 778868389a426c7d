"""How a result looks: colours, contours, legend, views."""
