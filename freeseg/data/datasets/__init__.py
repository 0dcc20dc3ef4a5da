"""Registration of datasets in Detectron2's catalogs; nothing here touches the disk."""
