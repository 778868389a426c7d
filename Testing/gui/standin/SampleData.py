"""What a module meets of Slicer's Sample Data module when it registers a data set; the real file with SLICER_SOURCE."""

import slicer


class SampleDataSource:
    """A data set: of every file that is fetched a URI, a name and the like, all lists of one length."""

    def __init__(self, sampleName, uris, fileNames, customDownloader, thumbnailFileName):
        if len(uris) != len(fileNames):
            raise ValueError("All fields of sample data source must have the same length")
        self.sampleName, self.uris, self.fileNames = sampleName, uris, fileNames
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataCategory(category, title):
        titles = vars(slicer.modules).setdefault("sampleDataSourceCategories", {})
        titles.setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom", sampleName=None, uris=None, fileNames=None, customDownloader=None, thumbnailFileName=None
    ):
        source = SampleDataSource(sampleName, uris, fileNames, customDownloader, thumbnailFileName)
        SampleDataLogic._sources().setdefault(category, []).append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        sources = SampleDataLogic._sources()
        return sources if category is None else sources.get(category, [])

    @staticmethod
    def _sources():
        return vars(slicer.modules).setdefault("sampleDataSources", {})
