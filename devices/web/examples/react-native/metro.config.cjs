const { join } = require("node:path");
const { getDefaultConfig, mergeConfig } = require("@react-native/metro-config");

/** edgerec is a link to the folder two levels up, which Metro must watch. */
const runtime = join(__dirname, "..", "..");

module.exports = mergeConfig(getDefaultConfig(__dirname), {
  watchFolders: [runtime],
  resolver: { nodeModulesPaths: [join(__dirname, "..", "node_modules")] },
});
