// The default theme in the reader's own fonts: a megabyte less to load.
import DefaultTheme from "vitepress/theme-without-fonts";
import "./style.css";

export default DefaultTheme;
